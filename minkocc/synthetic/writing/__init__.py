"""The synthetic world as files: nuScenes tables, sensor files and labels."""
