/* src/gateway/explain.c - being written. */
