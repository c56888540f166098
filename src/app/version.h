/* src/app/version.h - what was built: version from meson.build, revision from git. */
#ifndef VV_APP_VERSION_H
#define VV_APP_VERSION_H
extern const char vv_version[];  /* "0.1.0" */
extern const char vv_revision[]; /* "2f3a9c1", "2f3a9c1-dirty", or "unknown" outside git */
extern const char vv_compiler[]; /* "gcc 12.2.0" */
#endif
