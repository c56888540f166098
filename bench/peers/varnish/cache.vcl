vcl 4.1;
# Varnish: everything may be cached.
backend default { .host = "127.0.0.1"; .port = "@@ORIGIN_PORT@@"; }
