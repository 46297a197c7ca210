"""Ways to call the networks faster: graphs and kernels, with stand-ins for the device that they need."""
