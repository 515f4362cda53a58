"""The report of a run: one HTML page with everything inside it."""

from lowerbound.report.content import BEGUN as BEGUN
from lowerbound.report.content import Content as Content
from lowerbound.report.content import Picture as Picture
from lowerbound.report.page import POLICY as POLICY
from lowerbound.report.page import commands as commands
from lowerbound.report.page import document as document
from lowerbound.report.page import html as html
from lowerbound.report.page import write as write
