-- A long artifact, compressed as zlib does (RFC 1950); null: `content` is the whole text. Where it isn't null, `content` is the text's
-- beginning, for those who look with SQL alone.
ALTER TABLE artifact ADD COLUMN compressed BLOB;
