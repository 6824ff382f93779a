"""The prediction file: file and rows write and read it, scan checks it, ranking orders scores, shards joins parts,
loaded gives arrays to whoever scores."""
