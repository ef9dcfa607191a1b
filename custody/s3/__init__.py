"""Objects in an S3 bucket: settings, credentials, and a client that puts the same bytes again.

Only a program whose configuration names a bucket imports botocore: it takes 0.3 s and 27 MB.
"""
