"""What past outcomes say of measures and candidates: pure functions on numbers, for the service and the store."""
