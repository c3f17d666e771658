"""What training and prediction cost, by stage, and another commit beside this one."""
