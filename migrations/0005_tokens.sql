-- More about a proposal's tokens, where the endpoint tells: how many of those sent it had in its cache, how many of those received
-- were reasoning; and whether some are estimated by the length of the texts, because an endpoint didn't count them.
ALTER TABLE proposal ADD COLUMN tokens_cached INTEGER CHECK (tokens_cached >= 0);
ALTER TABLE proposal ADD COLUMN tokens_reasoning INTEGER CHECK (tokens_reasoning >= 0);
ALTER TABLE proposal ADD COLUMN tokens_estimated INTEGER NOT NULL DEFAULT 0 CHECK (tokens_estimated IN (0, 1));
