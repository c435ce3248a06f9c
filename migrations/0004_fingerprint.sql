-- What search needs of a program's source: its hash, a sketch of its shingles, its length and marked numbers, in a few hundred
-- bytes, so that a replay needs no source. Null in rows from before, and where another version's form stands: then it is made
-- anew from the source.
ALTER TABLE program ADD COLUMN fingerprint BLOB;
