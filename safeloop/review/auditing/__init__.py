"""Was the record altered, and did the loop keep its word?"""
