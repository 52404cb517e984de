"""How records move: topics, the Faust app, runs of records, keyed state, parking, dead letters."""
