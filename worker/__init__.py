"""The worker: claims work, computes, records."""
