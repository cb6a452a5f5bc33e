"""The stand-alone verifier: who has a bundle and a policy needs nothing else. Standard library only.

``python -m sync.verify BUNDLE --policy POLICY`` here; ``build/xunzhen-verify.pyz`` is the same modules as one file.
What is checked, and in which order, is in docs/evidence.md.
"""
