"""A library as a web page: search, look at avatars in motion, approve them, reject them, ask for another seed."""
