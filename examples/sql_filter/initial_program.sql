-- Orders that somebody should look at before they are sent.
SELECT id FROM purchase
WHERE
-- EVOLVE-BLOCK-START
  1.0 * (amount > 100.0)
  + 1.0 * (account_days < 30.0)
  + 1.0 * (hour < 6.0)
  + 1.0 * (items > 3.0)
  + 1.0 * (distance_km > 500.0)
  > 1.5
-- EVOLVE-BLOCK-END
;
