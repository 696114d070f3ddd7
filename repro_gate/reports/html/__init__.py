"""What pages in HTML share: the frame, its policy, its style, its script, safe text and charts."""
