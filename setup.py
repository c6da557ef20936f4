"The package's metadata, read from settings.ini, so that each fact stands once"
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

ini = ConfigParser(delimiters=['='])
ini.read('settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
statuses = ['1 - Planning', '2 - Pre-Alpha', '3 - Alpha', '4 - Beta', '5 - Production/Stable']

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', url=cfg['git_url'],
    project_urls=dict(Documentation=cfg['doc_host'] + cfg['doc_baseurl'], Changes=cfg['git_url'] + '/blob/main/CHANGELOG.md'),
    packages=find_packages(include=[cfg['lib_name'], cfg['lib_name'] + '.*']), package_data={'': ['*.mplstyle']},
    python_requires='>=' + cfg['min_python'], install_requires=cfg['requirements'].split(),
    extras_require=dict(dev=cfg['dev_requirements'].split()),
    entry_points=dict(console_scripts=cfg['console_scripts'].split(), nbdev=[f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]),
    long_description=Path('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown', zip_safe=False,
    classifiers=[f"Development Status :: {statuses[int(cfg['status']) - 1]}", f"Intended Audience :: {cfg['audience']}",
                 f"Natural Language :: {cfg['language']}", 'Programming Language :: Python :: 3',
                 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
)
