"""Where a study lives: the engine, the embedded server, the schema, batched rows and the study in memory."""
