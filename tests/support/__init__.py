"""Servers, images and tools that the tests share: scripted fakes on real sockets, and the real programs."""
