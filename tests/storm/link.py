"""A way over TCP to a port of this machine, on which connections can be cut, delayed, refused and left half open.

One thread moves the bytes of all links. The methods of a link may be called from any thread.
"""
import asyncio
import socket
import struct
import threading

CHUNK = 65536


class Links:
    """The thread that moves the bytes."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="links", daemon=True)
        self.thread.start()
        self.all = []

    def add(self, target):
        link = Link(self.loop, target)
        asyncio.run_coroutine_threadsafe(link.listen(), self.loop).result()
        self.all.append(link)
        return link

    def stop(self):
        async def end():
            for link in self.all:
                link.end()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Connection:
    def __init__(self, near, far):
        self.near, self.far = near, far
        self.swallows = False      # takes what comes and gives nothing on: half open

    def cut(self, hard):
        for writer in (self.near, self.far):
            if hard:
                end = writer.get_extra_info("socket")
                if end:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Link:
    def __init__(self, loop, target):
        self.loop, self.target = loop, target
        self.connections = set()
        self.delay = 0.0           # seconds that each chunk waits
        self.refuses = False       # new connections are cut at once
        self.swallows = False      # all connections become half open
        self.cuts = {}             # "up" (to the server) or "down": [bytes that still pass, hard]

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        if self.refuses:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, far_writer)
        connection.swallows = self.swallows
        self.connections.add(connection)
        try:
            await asyncio.gather(self.pump(connection, reader, far_writer, "up"), self.pump(connection, far_reader, writer, "down"))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.connections.discard(connection)
            connection.cut(hard=False)

    async def pump(self, connection, reader, writer, direction):
        while data := await reader.read(CHUNK):
            if self.delay:
                await asyncio.sleep(self.delay)
            if connection.swallows:
                continue
            if direction in self.cuts:
                left, hard = self.cuts[direction]
                if left <= len(data):
                    del self.cuts[direction]
                    writer.write(data[:left])
                    await writer.drain()
                    await asyncio.sleep(0.001)      # what may pass is on its way before the connection goes
                    connection.cut(hard)
                    return
                self.cuts[direction] = (left - len(data), hard)
            writer.write(data)
            await writer.drain()
        if not connection.swallows and writer.can_write_eof():
            writer.write_eof()

    def end(self):
        self.server.close()
        self.cut_all(True)

    def cut_all(self, hard):
        for connection in list(self.connections):
            connection.cut(hard)

    # ---- from other threads

    def call(self, action, *arguments):
        self.loop.call_soon_threadsafe(action, *arguments)

    def cut_now(self, hard):
        self.call(self.cut_all, hard)

    def cut_after(self, count, direction, hard):
        self.call(self.cuts.__setitem__, direction, (count, hard))

    def swallow(self, on):
        def change():
            self.swallows = on
            for connection in self.connections:
                connection.swallows = connection.swallows or on
        self.call(change)

    def cut_swallowing(self):
        def change():
            for connection in list(self.connections):
                if connection.swallows:
                    connection.cut(True)
        self.call(change)

    def clear(self):
        """No more trouble, and what is half open is gone."""
        def change():
            self.delay, self.refuses, self.swallows = 0.0, False, False
            self.cuts.clear()
        self.call(change)
        self.cut_swallowing()
