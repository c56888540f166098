/* src/gateway/trailers.c - by name: what a head may be about is never said behind it. */
#include "gateway/trailers.h"
#include "gateway/access.h"

bool vv_trailer_passes(const struct vv_h1_field *f)
{
    if (f->hop || vv_access_drops_field(f)) {
        return false;
    }
    switch (f->id) {
    case VV_FIELD_AUTHORIZATION:
    case VV_FIELD_CACHE_CONTROL:
    case VV_FIELD_CONNECTION:
    case VV_FIELD_CONTENT_ENCODING:
    case VV_FIELD_CONTENT_LENGTH:
    case VV_FIELD_CONTENT_RANGE:
    case VV_FIELD_CONTENT_TYPE:
    case VV_FIELD_COOKIE:
    case VV_FIELD_EXPECT:
    case VV_FIELD_FORWARDED:
    case VV_FIELD_HOST:
    case VV_FIELD_IF_MATCH:
    case VV_FIELD_IF_MODIFIED_SINCE:
    case VV_FIELD_IF_NONE_MATCH:
    case VV_FIELD_IF_RANGE:
    case VV_FIELD_IF_UNMODIFIED_SINCE:
    case VV_FIELD_KEEP_ALIVE:
    case VV_FIELD_LOCATION:
    case VV_FIELD_PROXY_AUTHENTICATE:
    case VV_FIELD_PROXY_AUTHORIZATION:
    case VV_FIELD_PROXY_CONNECTION:
    case VV_FIELD_RANGE:
    case VV_FIELD_SET_COOKIE:
    case VV_FIELD_TE:
    case VV_FIELD_TRAILER:
    case VV_FIELD_TRANSFER_ENCODING:
    case VV_FIELD_UPGRADE:
    case VV_FIELD_VARY:
    case VV_FIELD_VIA:
    case VV_FIELD_X_FORWARDED_FOR:
    case VV_FIELD_X_FORWARDED_HOST:
    case VV_FIELD_X_FORWARDED_PROTO:
    case VV_FIELD_X_REAL_IP:
    case VV_FIELD_X_REQUEST_ID:
        return false;
    default:
        return true;
    }
}
