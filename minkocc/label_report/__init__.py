"""How right weak, pseudo and voted labels are, against dense labels and LiDAR returns."""
