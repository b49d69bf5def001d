"""permessage-deflate (RFC 7692). Its rooms are loaded when an option asks for compression."""
