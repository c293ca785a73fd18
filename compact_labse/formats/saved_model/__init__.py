"""SavedModels as TF Hub defines them: encoder, masked-language head, preprocessing, and strings to vectors."""
