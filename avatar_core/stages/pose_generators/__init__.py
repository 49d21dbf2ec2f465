"""Ways of finding poses that fit a motion prompt, one a file behind the interface of `base.PoseGenerator`."""
