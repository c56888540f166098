/* src/gateway/checks.c - being written. */
