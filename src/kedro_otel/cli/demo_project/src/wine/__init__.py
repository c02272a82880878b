"""Which cultivar is this wine made from?"""
