"""One module for each part: NAME, ORDER, ABOUT, and run(stage)."""
