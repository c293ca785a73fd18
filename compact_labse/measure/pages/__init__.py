"""From records to what is read: a summary, tables, Markdown, and the page with its plots."""
