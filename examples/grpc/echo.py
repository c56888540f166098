# examples/grpc/echo.py - a gRPC service and its client in a page (needs python3-grpcio).
"""python3 echo.py serve PORT    answers /demo.Echo/Say and /demo.Echo/Chat
python3 echo.py call ADDRESS   asks both through ADDRESS

Messages are plain bytes, so that no generated code is needed.
"""
import sys
from concurrent import futures

import grpc


def say(message, context):
    context.set_trailing_metadata((("served-by", sys.argv[2]),))
    return b"you said " + message


def chat(messages, context):
    for message in messages:
        yield b"you said " + message


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("demo.Echo", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def call(address):
    with grpc.insecure_channel(address) as channel:
        answer, ended = channel.unary_unary("/demo.Echo/Say").with_call(b"hello", timeout=5)
        print(answer.decode(), dict(ended.trailing_metadata()))
        words = (word.encode() for word in ("one", "two", "three"))
        for answer in channel.stream_stream("/demo.Echo/Chat")(words, timeout=5):
            print(answer.decode())


if __name__ == "__main__" and len(sys.argv) == 3 and sys.argv[1] in ("serve", "call"):
    (serve if sys.argv[1] == "serve" else call)(sys.argv[2])
else:
    sys.exit(__doc__)
