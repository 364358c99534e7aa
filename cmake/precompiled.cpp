// Gives the precompiled header that json-using parts share a translation unit of its own.
