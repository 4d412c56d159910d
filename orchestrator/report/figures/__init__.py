"""Figures as SVG, drawn by matplotlib, which is imported when the first one is drawn.

Told apart by colour (Okabe and Ito), marker and line style at once; heat maps carry their numbers.
"""
