"""Between an export and its name, and later: does it agree with its source, is it the file that was written?"""
