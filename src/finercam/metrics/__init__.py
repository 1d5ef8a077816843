"""Numbers per image: pure functions of saliency maps, masks and scores, batched, on their device."""
