"""What a fitted reward is: its head, the beliefs about its users, and the folder it is saved in."""
