"""Making a trained model smaller: fewer pieces, fewer layers, heads and columns, fewer bits."""
