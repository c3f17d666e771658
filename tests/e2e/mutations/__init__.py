"""Damage to files of data, one thing at a time, drawn from a seed.

Each mutation is one that a reader can tell, or that changes nothing. What no reader can tell is
left out, or is ``loose``: it is made all the same, but only has to end in an order of some kind.

- Bytes flipped in what carries no checksum: JPEG, raw LiDAR, lidarseg, pickles, JSON.
- LiDAR files cut or lengthened by whole points, and any finite coordinate in them.
- Another class, pose, time or intrinsic that may be, where nothing else repeats it: two sweeps of
  one frame that change places, the mounting of a camera, a label of another city.
- A frame, a sweep or a label path left out of infos that hold the rest: such infos exist.
- Two poses of a vehicle, or two mounts of a sensor, that change places.
- Two files of one kind and size that change places under their names, where they name nobody.
"""
