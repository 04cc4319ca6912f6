"""The zoo: architectures, safe checkpoint loading, and cards. It imports neither service nor worker."""
