"""The viewer in a browser: what is read of a frame, what is chosen, and the page that shows it."""
