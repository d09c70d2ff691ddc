"""`turnpike apply`: what a file wants against what there is, as a list of changes; a second time that list is empty."""
