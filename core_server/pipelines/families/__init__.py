"""Model families: `family` says what one is, one file each describes them, `registry` has them all. Free of torch."""
