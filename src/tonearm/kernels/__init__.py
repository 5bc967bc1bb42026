"""All hand-written numeric code: arrays in, arrays out, no I/O; each kernel has a readable twin in the tests."""
