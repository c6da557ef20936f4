"One browser for all tests that need one; Playwright takes no second in the same process"
import os, shutil
import pytest

def missing(what):
    "Skip, and say so; fail where BROWSER_TESTS=required"
    said = f'BROWSER TESTS DID NOT RUN: {what} is missing'
    (pytest.fail if os.environ.get('BROWSER_TESTS') == 'required' else pytest.skip)(said)

@pytest.fixture(scope='session')
def browser():
    try: from playwright.sync_api import sync_playwright
    except ImportError: missing('the Python package playwright')
    names = 'chromium', 'chromium-browser', 'google-chrome'
    program = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, names)), None)
    if not program: missing('Chromium')
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=program, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        yield b
        b.close()
