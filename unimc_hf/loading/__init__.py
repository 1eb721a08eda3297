"""What the installed package adds to loading: where its models are, and checks of files from anywhere."""
