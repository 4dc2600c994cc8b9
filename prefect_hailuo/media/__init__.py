"""Looking into video files, and making clips of them."""
