"""What all tests share."""

import torch

# The nets here are small: threads cost more than they give, most of all where tests run side by side.
torch.set_num_threads(1)
