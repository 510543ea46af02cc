<#
.SYNOPSIS
Installs otelet from its MSI, or upgrades it; for Windows PowerShell 5.1 and later, as an administrator.

.DESCRIPTION
Takes the MSI from a file or by https, compares it with SHA256SUMS, and has Windows Installer do the rest without a
question. What is not given stays as it is. Everything that is given is judged by the agent itself, before anything is touched;
what it says is printed. Nothing else is needed on a host without a network than the two files.

.PARAMETER Msi
A path, or an https:// URL.

.PARAMETER Sums
SHA256SUMS: a path or a URL. Without it: the one beside the MSI.

.PARAMETER ConfigUrl
Where configs come from: http://, https://, file:/// or an absolute path.

.PARAMETER ConfigPublicKey
A minisign public key: only configs with a signature of it are accepted.

.PARAMETER CollectorPath
The Collector to run. Without it: otelcol-contrib, otelcol or otelcol-* from PATH.

.PARAMETER Attributes
Resource attributes of this host: site=a,rack=b. A comma in a value is written twice.

.PARAMETER Log
Where Windows Installer writes its log.

.EXAMPLE
.\install.ps1 -Msi .\otelet-0.1.0-x86_64-pc-windows-gnu.msi -ConfigUrl https://config.example.com/edge/site-12.yaml

.NOTES
Exit status: that of msiexec. 0 installed, 3010 installed, and Windows wants to be restarted; 1 nothing was begun.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true, Position = 0)]
    [string] $Msi,
    [string] $Sums,
    [string] $ConfigUrl,
    [string] $ConfigPublicKey,
    [string] $CollectorPath,
    [string] $Attributes,
    [string] $Log = (Join-Path ([IO.Path]::GetTempPath()) 'otelet-msi.log')
)
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2

function Stop-Installation([string] $Why) {
    [Console]::Error.WriteLine("install.ps1: $Why")
    exit 1
}

# A file as it is, or what a URL gives, in the directory for this run.
function Get-Part([string] $From) {
    if ($From -match '^http://') { Stop-Installation "${From}: what is not fetched by https may be anybody's" }
    if ($From -notmatch '^https://') {
        if (-not (Test-Path -LiteralPath $From -PathType Leaf)) { Stop-Installation "${From}: there is no such file" }
        return (Resolve-Path -LiteralPath $From).ProviderPath
    }
    $to = Join-Path $scratch ([IO.Path]::GetFileName(([Uri] $From).AbsolutePath))
    Write-Host "install.ps1: gets $From"
    Invoke-WebRequest -UseBasicParsing -Uri $From -OutFile $to
    return $to
}

# As msiexec takes it: in quotes, a quote in it twice.
function Format-Property([string] $Name, [string] $Value) {
    return '{0}="{1}"' -f $Name, $Value.Replace('"', '""')
}

$identity = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $identity.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Stop-Installation 'run this as an administrator'
}
# Server 2016 does not offer TLS 1.2 by itself.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
$ProgressPreference = 'SilentlyContinue'

$scratch = Join-Path ([IO.Path]::GetTempPath()) ('otelet-' + [Guid]::NewGuid())
New-Item -ItemType Directory -Path $scratch | Out-Null
$status = 1
try {
    if (-not $Sums) { $Sums = $Msi -replace '[^/\\]+$', 'SHA256SUMS' }
    $file = Get-Part $Msi
    $name = [IO.Path]::GetFileName($file)
    $sum = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash
    $line = "$sum  $name"
    # -contains does not mind upper case.
    if (-not (@(Get-Content -LiteralPath (Get-Part $Sums)) -contains $line)) {
        Stop-Installation "$name is damaged, or another one than SHA256SUMS names: its SHA-256 is $sum"
    }

    $arguments = @('/i', "`"$file`"", '/qn', '/norestart', '/l*v', "`"$Log`"")
    $given = @{
        CONFIG_URL = $ConfigUrl; CONFIG_PUBLIC_KEY = $ConfigPublicKey; COLLECTOR_PATH = $CollectorPath; ATTRIBUTES = $Attributes
    }
    foreach ($property in $given.Keys) {
        if ($given[$property]) { $arguments += Format-Property $property $given[$property] }
    }
    $status = (Start-Process -FilePath msiexec.exe -ArgumentList ($arguments -join ' ') -Wait -PassThru).ExitCode

    # What the agent said, without the rest of the log.
    if (Test-Path -LiteralPath $Log) {
        Select-String -LiteralPath $Log -Pattern '\botelet: (.*)' |
            ForEach-Object { Write-Host "install.ps1: $($_.Matches[0].Groups[1].Value)" }
    }
    if ($status -in 0, 3010) {
        Write-Host "install.ps1: $name is installed; otelet status says how it is"
    }
    else {
        [Console]::Error.WriteLine("install.ps1: $name is not installed: msiexec says $status; its log is $Log")
    }
}
finally {
    Remove-Item -LiteralPath $scratch -Recurse -Force
}
exit $status
