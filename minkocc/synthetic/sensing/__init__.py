"""What cameras and LiDAR measure of the synthetic world."""
