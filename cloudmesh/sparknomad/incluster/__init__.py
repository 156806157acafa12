"""What runs inside a cluster, beside the program.

Standard library only, Python 3.9 or newer: these files are copied into the image and run by
its own interpreter, and the embedded provider runs them as they are.
"""
