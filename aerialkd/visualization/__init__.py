"""Pictures of what detectors see, find and learn, and the report that shows them."""
